"""The firmware of the items: where each will run, for which platform that is built, the tree and the build.

QEMU and this host get the bare-metal build; an attached board and Espressif's emulators that of ESP-IDF,
where it is active. Starts no board and writes to none.
"""

from __future__ import annotations

import dataclasses

from harness.boards import Place, board_at, choose_place
from harness.boards.base import Board
from harness.boards.detect import is_native_usb
from harness.boards.port_faults import check_port
from harness.errors import MissingError, UsageError
from harness.exclusive import exclusive
from harness.farm.shelf import Shelf
from harness.items import Item
from harness.progress import Say, silent
from harness.runtimes import get_runtime
from harness.runtimes.base import Artifact, Project
from harness.settings import Settings
from harness.targets import Target
from harness.toolchains import bare_metal
from harness.toolchains.base import Image
from harness.toolchains.esp_idf import build as esp_idf
from harness.toolchains.esp_idf.engines import PORTABLE, IdfVersions, get_engine, idf_versions
from harness.toolchains.esp_idf.installation import find_installation
from harness.toolchains.esp_idf.project import IdfProject, write_project


class Firmware:
    """Makes the firmware of a run's items. Remembers where each chip's items run: a board that is asked
    which chip it has restarts.
    """

    def __init__(self, settings: Settings, shelf: Shelf, say: Say = silent) -> None:
        self._settings = settings
        self._shelf = shelf
        self._say = say
        self._places: dict[str, Place] = {}
        self._built: dict[str, Image] = {}

    @property
    def kept_because(self) -> str:
        """Why an attached board keeps the firmware it has; empty where it gets the item's."""
        if self._settings.dialect:
            return "firmware that prints is not ours to build"
        if self._settings.keep_firmware:
            return "as asked: --skip-autoflash"
        return _no_esp_idf(idf_versions(self._settings.runtimes, self._settings.kernels))

    def one_firmware_only(self, target: Target) -> bool:
        """Whether all items of the run meet the one firmware that an attached board has."""
        return self._shelf.attached(target) and bool(self.kept_because)

    def builds(self, runtime: str, kernels: str) -> bool:
        """Whether a runtime has these kernels, and they go with the ESP-IDF of the run."""
        if kernels not in get_runtime(runtime).kernels:
            return False
        wanted = idf_versions(self._settings.runtimes, kernels)
        return kernels == PORTABLE or get_engine(runtime, kernels).idf == wanted

    def project(self, item: Item, artifact: Artifact) -> Project | IdfProject:
        """The source tree, for the platform of the place where the item will run.

        Raises:
            UsageError, MissingError: a vendor's kernels without a chip, an emulator of one, or ESP-IDF.
            UnsupportedError: the vendor's library does not compute this model, or not on this chip.
        """
        place = self._place(item.target)
        name = f"{artifact.name}-{item.runtime.replace(':', '-')}-{item.kernels}"
        projects = self._settings.build_root / "projects"
        if self._for_chip(item, place):
            layout = self._settings.layout
            if place.attached and is_native_usb(place.port):
                layout = dataclasses.replace(layout, usb_serial=True)
            directory = projects / f"{name}-{item.target.id}-{esp_idf.PLATFORM}"
            with exclusive(directory):
                return write_project(artifact, item.target, item.kernels, directory, layout)
        directory = projects / f"{name}-{artifact.digest[:12]}"
        with exclusive(directory):
            return get_runtime(item.runtime).generate(artifact, item.kernels, directory)

    def image(self, item: Item, artifact: Artifact, project: Project | IdfProject) -> Image | None:
        """The build; None when an attached board keeps its own.

        Raises:
            MissingError: no compiler, or no ESP-IDF.
            PortError: the port it would be flashed by is absent or not permitted.
            BuildError: it does not build; carries the first lines of what was said.
        """
        place = self._place(item.target)
        if place.attached and self.kept_because:
            return None
        root = self._settings.build_root / "images"
        if isinstance(project, IdfProject):
            if place.port:
                check_port(place.port)  # before minutes go into a build
            image = esp_idf.build(project, artifact, build_root=root, say=self._say)
        else:
            platform = "host" if place.kind == "host" else item.target.isa_platform
            assert platform is not None, "refused by check_targets"
            image = bare_metal.build(project, item.target, platform, build_root=root)
        self._built[item.key] = image
        return image

    def board(self, item: Item, image: Image | None) -> tuple[Board, str]:
        """The board, not yet opened, and the reason for it, where none comes of a farm; `image` may be
        another than was built here.
        """
        settings = self._settings
        if image is None or image is self._built.get(item.key):
            place = self._place(item.target)
        else:
            place = choose_place(
                item.target,
                kind=settings.board,
                attachment=settings.attachment,
                flashable=image.flash is not None,
            )
        reason = place.reason
        if place.attached and image is None:
            reason += f"; it keeps its firmware ({self.kept_because})"
        return board_at(item.target, place, image, settings.attachment), reason

    def _place(self, target: Target) -> Place:
        if target.id not in self._places:
            # Which board of a farm is free is known only when it is leased.
            self._places[target.id] = self._shelf.place(target) or choose_place(
                target,
                kind=self._settings.board,
                attachment=self._settings.attachment,
                flashable=not self.kept_because,
            )
        return self._places[target.id]

    def _for_chip(self, item: Item, place: Place) -> bool:
        """Whether it is an ESP-IDF project; raises where the kernels need one and nothing runs it."""
        if place.attached:
            return item.kernels != PORTABLE or not self.kept_because
        if place.boots_flash or item.kernels == PORTABLE:
            return place.boots_flash
        if self._settings.board == "auto":
            find_installation(get_engine(item.runtime, item.kernels).idf)
        raise UsageError(
            f"kernels {item.kernels} run on the chip or an emulator of it, and {place.reason}",
            "Attach a board, see harness doctor for the emulators, or use --kernels portable",
        )


def _no_esp_idf(versions: IdfVersions) -> str:
    """Why nothing can be built for the chip; empty where it can."""
    try:
        find_installation(versions)
    except MissingError as error:
        return error.message
    return ""
