/* The lines of IDENTIFY that tell boards and configurations apart. */
#include "board.h"
#include "older_idf.h"
#include "platform.h"

#include "esp_chip_info.h"
#include "esp_flash.h"
#include "esp_heap_caps.h"
#include "esp_idf_version.h"
#include "esp_mac.h"
#include "esp_rom_sys.h"
#include "esp_system.h"
#include "sdkconfig.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINES      12u
#define LINE_BYTES 64u
#define MAC_BYTES  6

#if CONFIG_ESPTOOLPY_FLASHMODE_QIO
#define FLASH_MODE "qio"
#else
#define FLASH_MODE CONFIG_ESPTOOLPY_FLASHMODE
#endif

#if CONFIG_HARNESS_SERIAL_USB
#define SERIAL_NAME "usb_serial_jtag"
#else
#define SERIAL_NAME "uart"
#endif

static char lines[LINES][LINE_BYTES];
static uint16_t count;
static bool blank_mac;
static const char *arena;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(lines[count++], LINE_BYTES, format, values);
    va_end(values);
}

void board_identify(void) {
    static const uint8_t blank[MAC_BYTES];
    uint8_t mac[MAC_BYTES] = {0};
    esp_chip_info_t chip;
    uint32_t flash_bytes = 0;

    count = 0;
    esp_chip_info(&chip);
    esp_flash_get_size(NULL, &flash_bytes);
    blank_mac = esp_efuse_mac_get_default(mac) != ESP_OK || memcmp(mac, blank, MAC_BYTES) == 0;

    add("chip_revision=v%u.%u", CHIP_REVISION(chip) / 100u, CHIP_REVISION(chip) % 100u);
    add("cores=%u", chip.cores);
    add("mac=%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    add("clock_hz=%" PRIu32, esp_rom_get_cpu_ticks_per_us() * 1000000u);
    add("flash_bytes=%" PRIu32, flash_bytes);
    add("flash=%s %s", FLASH_MODE, CONFIG_ESPTOOLPY_FLASHFREQ);
    add("psram_bytes=%u", (unsigned)heap_caps_get_total_size(MALLOC_CAP_SPIRAM));
    add("idf=%s", esp_get_idf_version());
    add("serial=%s", SERIAL_NAME);
}

bool board_is_emulated(void) {
    return blank_mac;
}

void board_set_arena(const char *where) {
    arena = where;
}

const char *platform_identity_line(uint16_t index) {
    static char line[LINE_BYTES];
    if (index < count)
        return lines[index];
    if (index > count || arena == NULL)
        return NULL;
    snprintf(line, sizeof line, "arena=%s", arena);
    return line;
}
