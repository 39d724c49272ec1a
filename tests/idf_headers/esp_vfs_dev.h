#pragma once
void esp_vfs_dev_uart_use_driver(int port);
