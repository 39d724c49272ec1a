/* Runs a generated ESP-IDF application on this machine. */
#include <time.h>

#include "esp_timer.h"

void app_main(void);

int64_t esp_timer_get_time(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int main(void) {
    app_main();
    return 0;
}
