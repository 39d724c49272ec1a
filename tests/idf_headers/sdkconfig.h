#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define CONFIG_ESPTOOLPY_FLASHMODE     "dio"
#define CONFIG_ESPTOOLPY_FLASHMODE_QIO 1
#define CONFIG_ESPTOOLPY_FLASHFREQ     "80m"
#define CONFIG_HARNESS_UART            0
#define CONFIG_HARNESS_UART_BAUD       115200
#define CONFIG_HARNESS_STACK_BYTES     16384
