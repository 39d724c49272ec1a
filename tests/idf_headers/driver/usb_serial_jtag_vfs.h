#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
void usb_serial_jtag_vfs_use_driver(void);
