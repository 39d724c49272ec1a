/*
 * A native process as the board: bytes on the descriptor named by argv[1], log
 * text on the same stream. It counts nothing; reset replaces the process by a
 * fresh copy of itself on the same descriptor.
 */
#include "platform.h"
#include "core.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BOOT_REASON_VARIABLE "FIRMWARE_BOOT_REASON"

static const platform_info info = {
    .name = "host",
    .fidelity = "host",
    .counter = "none",
    .counter_scale = "1/1",
    .counter_exact = false,
    /* Less than any socket or pipe buffer on Linux. */
    .rx_window = 32768,
};

static int stream;
static char **arguments;

/* As a UART's driver has: a system call for each COBS block would cost more than all the rest. */
static uint8_t arrived[4096];
static size_t arrived_at, arrived_size;
static uint8_t leaving[4096];
static size_t leaving_size;

static void die(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

int main(int count, char **values) {
    if (count != 2) {
        fprintf(stderr, "usage: %s FD (an open socket or terminal)\n", values[0]);
        return EXIT_FAILURE;
    }
    arguments = values;
    stream = atoi(values[1]);
    core_run();
}

void platform_init(void) {
}

const platform_info *platform_get_info(void) {
    return &info;
}

platform_boot_reason platform_get_boot_reason(void) {
    return getenv(BOOT_REASON_VARIABLE) != NULL ? PLATFORM_BOOT_RESET : PLATFORM_BOOT_POWER_ON;
}

static void send_out(const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t sent = write(stream, data, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            exit(EXIT_SUCCESS);
        if (sent < 0)
            die("write");
        data += sent;
        size -= (size_t)sent;
    }
}

size_t platform_read(uint8_t *data, size_t size, uint32_t timeout_us) {
    if (arrived_at == arrived_size) {
        platform_flush();
        struct pollfd wanted = {stream, POLLIN, 0};
        int timeout_ms = timeout_us == UINT32_MAX ? -1 : (int)((timeout_us + 999u) / 1000u);
        int ready = poll(&wanted, 1, timeout_ms);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            return 0;
        ssize_t got = read(stream, arrived, sizeof arrived);
        if (got < 0 && errno != ECONNRESET)
            die("read");
        if (got <= 0)
            exit(EXIT_SUCCESS); /* the host side is gone */
        arrived_at = 0;
        arrived_size = (size_t)got;
    }
    size_t taken = arrived_size - arrived_at < size ? arrived_size - arrived_at : size;
    memcpy(data, arrived + arrived_at, taken);
    arrived_at += taken;
    return taken;
}

void platform_write(const uint8_t *data, size_t size) {
    if (size > sizeof leaving - leaving_size)
        platform_flush();
    if (size > sizeof leaving) {
        send_out(data, size);
        return;
    }
    memcpy(leaving + leaving_size, data, size);
    leaving_size += size;
}

void platform_flush(void) {
    send_out(leaving, leaving_size);
    leaving_size = 0;
}

bool platform_set_baud(uint32_t baud) {
    (void)baud;
    return false;
}

uint32_t platform_get_baud(void) {
    return 0;
}

void platform_measure_begin(void) {
    platform_flush(); /* earlier answers do not wait for this run */
}

void platform_measure_end(void) {
}

uint64_t platform_count(void) {
    return 0;
}

uint64_t platform_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

void platform_get_memory(platform_memory *memory) {
    *memory = (platform_memory){PLATFORM_UNKNOWN, PLATFORM_UNKNOWN, PLATFORM_UNKNOWN, PLATFORM_UNKNOWN,
                                PLATFORM_UNKNOWN};
}

bool platform_get_task(uint16_t index, platform_task *task) {
    (void)index;
    (void)task;
    return false;
}

const char *platform_identity_line(uint16_t index) {
    (void)index;
    return NULL;
}

void platform_reset(void) {
    platform_flush();
    setenv(BOOT_REASON_VARIABLE, "reset", 1);
    execv("/proc/self/exe", arguments);
    die("execv");
}
