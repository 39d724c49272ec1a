#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
void uart_vfs_dev_use_driver(int port);
