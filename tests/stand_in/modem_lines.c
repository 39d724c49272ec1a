/*
 * Modem lines for pseudo-terminals, which the kernel gives none: preloaded into stock esptool and
 * pyserial, it takes their DTR and RTS requests on /dev/pts/N to the socket $MODEM_LINES/N, where
 * tests/stand_in/attached_board.py plays the reset circuit. All other requests pass unchanged.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_lines(int terminal) {
    const char *directory = getenv("MODEM_LINES");
    char name[64];
    if (directory == NULL || ttyname_r(terminal, name, sizeof name) != 0 ||
        strncmp(name, "/dev/pts/", 9) != 0) {
        return -1;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, name + 9);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        return -1;
    }
    int lines = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lines >= 0 && connect(lines, (struct sockaddr *)&address, sizeof address) != 0) {
        close(lines);
        lines = -1;
    }
    return lines;
}

/* One request: what to do and the bits; the answer is the state after it. */
static int ask(int lines, uint32_t request, uint32_t *bits) {
    uint32_t message[2] = {request, *bits};
    int done = write(lines, message, sizeof message) == (ssize_t)sizeof message &&
               read(lines, bits, sizeof *bits) == (ssize_t)sizeof *bits;
    close(lines);
    if (!done) {
        errno = EIO;
    }
    return done ? 0 : -1;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == TIOCMGET || request == TIOCMSET || request == TIOCMBIS || request == TIOCMBIC) {
        int lines = connect_lines(descriptor);
        if (lines >= 0) {
            uint32_t bits = request == TIOCMGET ? 0 : *(uint32_t *)argument;
            int result = ask(lines, (uint32_t)request, &bits);
            if (result == 0 && request == TIOCMGET) {
                *(uint32_t *)argument = bits;
            }
            return result;
        }
    }
    int (*next)(int, unsigned long, void *);
    *(void **)&next = dlsym(RTLD_NEXT, "ioctl");
    return next(descriptor, request, argument);
}
