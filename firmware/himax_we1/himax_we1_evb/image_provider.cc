#include "../image_provider.h"

#include "../image_frame.h"
#include "../model_settings.h"
#include "board.h"

namespace {
const uint32_t kAskAgain = kBoardTicksPerSecond;
// A byte takes 87 us at 115200 baud; USB adapters hold bytes back for up to 16 ms.
const uint32_t kLostByte = kBoardTicksPerSecond / 10;

const char *Reason(FrameStatus status) {
    switch (status) {
    case FrameStatus::kWrongLength:
        return "another length";
    case FrameStatus::kWrongCrc:
        return "wrong CRC";
    default:
        return "cut short";
    }
}

// Reads away what is left of a damaged frame: until the line has been quiet for long enough.
void Drain() {
    uint8_t byte = 0;
    uint32_t since = BoardTicks();
    while (BoardTicks() - since < kLostByte) {
        if (BoardGetByte(&byte)) {
            since = BoardTicks();
        }
    }
}
} // namespace

TfLiteStatus GetImage(tflite::ErrorReporter *error_reporter, int image_width, int image_height, int channels,
                      int8_t *image_data) {
    int image_bytes = image_width * image_height * channels;
    ImageFrame frame(image_data, (uint32_t)image_bytes);
    FrameStatus status = FrameStatus::kIncomplete;
    uint32_t since = BoardTicks() - kAskAgain;

    while (status == FrameStatus::kIncomplete) {
        uint8_t byte = 0;
        if (BoardGetByte(&byte)) {
            status = frame.Take(byte);
            since = BoardTicks();
            continue;
        }
        uint32_t silent = BoardTicks() - since;
        if (frame.started() && silent >= kLostByte) {
            break;
        }
        if (!frame.started() && silent >= kAskAgain) {
            // Again every second: a host that was attached later has missed the first.
            TF_LITE_REPORT_ERROR(error_reporter, "image:%d bytes, model:%s", image_bytes, kModelDigest);
            since = BoardTicks();
        }
    }
    if (status == FrameStatus::kComplete) {
        return kTfLiteOk;
    }
    Drain();
    TF_LITE_REPORT_ERROR(error_reporter, "refused:%s", Reason(status));
    return kTfLiteError;
}
