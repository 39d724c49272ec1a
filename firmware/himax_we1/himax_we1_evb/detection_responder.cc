#include "../detection_responder.h"

#include "../model_settings.h"

void RespondToDetection(tflite::ErrorReporter *error_reporter, const int8_t *score, uint32_t invoke_ticks) {
    int best = -1;
    int best_score = 0;

    TF_LITE_REPORT_ERROR(error_reporter, "number");
    for (int i = 0; i < kCategoryCount; i++) {
        TF_LITE_REPORT_ERROR(error_reporter, "[%d]:%d,", i, score[i]);
        if (score[i] > best_score) {
            best_score = score[i];
            best = i;
        }
    }
    TF_LITE_REPORT_ERROR(error_reporter, "invoke:%u ticks,", invoke_ticks);
    // As in the handwriting example, only a score above 0 can win.
    if (best >= 0) {
        TF_LITE_REPORT_ERROR(error_reporter, "result:%d", best);
    } else {
        TF_LITE_REPORT_ERROR(error_reporter, "result:unknown");
    }
}
