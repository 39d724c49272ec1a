#pragma once
int esp_clk_cpu_freq(void);
