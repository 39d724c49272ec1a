/* platform.h for both QEMU machines: sleep instead of polling, painted stack, boot note. */
#include "platform.h"

#include "core.h"
#include "machine.h"
#include "uart16550.h"

#include <string.h>

/* From the linker script. The boot note outlives a reset; emulated RAM starts as zero. */
extern uint32_t _boot_note[1];
extern uint32_t _stack_bottom[];
extern uint32_t _stack_top[];
extern uint8_t _static_ram_start[];
extern uint8_t _static_ram_end[];

/* Also in start.S, which paints. */
#define STACK_PAINT 0xA5A5A5A5u

/* Above the reason of the next boot, a platform_boot_reason. */
#define NOTE      0x4E4F5400u
#define NOTE_MASK 0xFFFFFF00u

#define MIN_BAUD 1200u
#define MAX_BAUD 5000000u

static platform_boot_reason boot_reason;
static uint32_t baud = 115200;
static uint32_t next_baud;

int main(void) {
    core_run();
    return 0;
}

static void note_next_boot(platform_boot_reason reason) {
    _boot_note[0] = NOTE | (uint32_t)reason;
}

void platform_init(void) {
    boot_reason = PLATFORM_BOOT_POWER_ON;
    if ((_boot_note[0] & NOTE_MASK) == NOTE)
        boot_reason = (platform_boot_reason)(_boot_note[0] & ~NOTE_MASK);
    note_next_boot(PLATFORM_BOOT_PIN); /* reset from outside, while all is well */
    machine_init();
    uart_start();
}

platform_boot_reason platform_get_boot_reason(void) {
    return boot_reason;
}

size_t platform_read(uint8_t *data, size_t size, uint32_t timeout_us) {
    uint64_t deadline_us = timeout_us == UINT32_MAX ? SLEEP_FOR_EVER : platform_microseconds() + timeout_us;
    for (;;) {
        size_t got = uart_receive(data, size);
        if (got > 0)
            return got;
        if (deadline_us != SLEEP_FOR_EVER && platform_microseconds() >= deadline_us)
            return 0;
        machine_sleep(deadline_us);
    }
}

static void wait_for_room(void) {
    uart_wake_on_room(true);
    machine_sleep(SLEEP_FOR_EVER);
    uart_wake_on_room(false);
}

void platform_write(const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t sent = uart_send(data, size);
        if (sent == 0)
            wait_for_room();
        data += sent;
        size -= sent;
    }
}

void platform_flush(void) {
    while (!uart_sent_all())
        wait_for_room();
    if (next_baud != 0)
        baud = next_baud;
    next_baud = 0;
}

/* The emulated wire has no rate: any that a serial adapter makes is taken, remembered and reported. */
bool platform_set_baud(uint32_t wanted) {
    if (wanted < MIN_BAUD || wanted > MAX_BAUD)
        return false;
    next_baud = wanted;
    return true;
}

uint32_t platform_get_baud(void) {
    return baud;
}

/* The stack ends in static RAM: better a line now than a wrong result later. */
void platform_measure_end(void) {
    static const char *const names[3] = {"stack_overflow_below", "stack_top", "found"};
    if (_stack_bottom[0] != STACK_PAINT) {
        const uint32_t values[3] = {(uint32_t)(uintptr_t)_stack_bottom, (uint32_t)(uintptr_t)_stack_top,
                                    _stack_bottom[0]};
        panic(names, values);
    }
}

void platform_get_memory(platform_memory *memory) {
    const uint32_t *word = _stack_bottom;
    while (word < _stack_top && *word == STACK_PAINT)
        word++;
    memory->stack_bytes = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)_stack_bottom);
    memory->stack_used_bytes = (uint32_t)((uintptr_t)_stack_top - (uintptr_t)word);
    memory->heap_bytes = 0;
    memory->heap_low_bytes = 0;
    memory->static_ram_bytes = (uint32_t)(_static_ram_end - _static_ram_start);
}

bool platform_get_task(uint16_t index, platform_task *task) {
    platform_memory memory;
    if (index != 0)
        return false;
    platform_get_memory(&memory);
    task->name = "main";
    task->stack_bytes = memory.stack_bytes;
    task->stack_low_bytes = memory.stack_bytes - memory.stack_used_bytes;
    return true;
}

const char *platform_identity_line(uint16_t index) {
    static const char key[] = "baud=";
    static char line[sizeof key + 10]; /* ends in a zero */
    char *text = line + sizeof line - 1;
    if (index != 0)
        return NULL;
    for (uint32_t rest = baud, tenth; rest > 0; rest = tenth) {
        tenth = rest / 10;
        *--text = (char)('0' + (rest - 10 * tenth));
    }
    return memcpy(text - (sizeof key - 1), key, sizeof key - 1);
}

void platform_reset(void) {
    note_next_boot(PLATFORM_BOOT_RESET);
    machine_reset();
}

static void write_text(const char *text) {
    platform_write((const uint8_t *)text, strlen(text));
}

void panic(const char *const names[3], const uint32_t values[3]) {
    static const char hex[] = "0123456789abcdef";
    static const uint8_t delimiter = 0;

    note_next_boot(PLATFORM_BOOT_PANIC);
    /* Closes the frame that may be half sent, so that the line stands alone. */
    platform_write(&delimiter, 1);
    write_text("PANIC");
    for (int i = 0; i < 3; i++) {
        char number[] = "=0x00000000";
        for (int digit = 0; digit < 8; digit++)
            number[3 + digit] = hex[values[i] >> (28 - 4 * digit) & 15u];
        write_text(" ");
        write_text(names[i]);
        write_text(number);
    }
    write_text("\n");
    platform_write(&delimiter, 1);
    machine_halt();
}
