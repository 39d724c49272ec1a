/* Stands in for TFLM's: a formatted line and CR LF to the board's UART, as its micro_error_reporter.cc. */
#ifndef STAND_IN_MICRO_ERROR_REPORTER_H
#define STAND_IN_MICRO_ERROR_REPORTER_H

#include <stdarg.h>
#include <stdio.h>

#include "hx_drv_tflm.h"

#define TF_LITE_REPORT_ERROR(reporter, ...)                                                                  \
    do {                                                                                                     \
        static_cast<tflite::ErrorReporter *>(reporter)->Report(__VA_ARGS__);                                 \
    } while (false)

namespace tflite {

class ErrorReporter {
  public:
    __attribute__((format(printf, 2, 3))) void Report(const char *format, ...) {
        char line[256];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(line, sizeof(line), format, arguments);
        va_end(arguments);
        hx_drv_uart_print("%s", line);
        hx_drv_uart_print("%s", "\r\n");
    }
};

class MicroErrorReporter : public ErrorReporter {};

} // namespace tflite

#endif
