#include "image_frame.h"

#include <stddef.h>

extern "C" {
#include "crc32.h"
}

namespace {
const uint8_t kMagic[] = {'I', 'M', 'G', ':'};
const uint32_t kLengthAt = 4;
const uint32_t kImageAt = 8;
} // namespace

ImageFrame::ImageFrame(int8_t *image, uint32_t image_bytes)
    : image_(image), image_bytes_(image_bytes), taken_(0), word_(0), crc_(0) {
}

FrameStatus ImageFrame::Take(uint8_t byte) {
    if (taken_ < kLengthAt) {
        return TakeMagic(byte);
    }
    if (taken_ < kImageAt) {
        bool whole = TakeWord(byte, taken_ - kLengthAt);
        taken_++;
        return whole && word_ != image_bytes_ ? FrameStatus::kWrongLength : FrameStatus::kIncomplete;
    }
    uint32_t index = taken_++ - kImageAt;
    if (index < image_bytes_) {
        image_[index] = (int8_t)byte;
        crc_ = crc32(crc_, &byte, 1);
        return FrameStatus::kIncomplete;
    }
    if (!TakeWord(byte, index - image_bytes_)) {
        return FrameStatus::kIncomplete;
    }
    return word_ == crc_ ? FrameStatus::kComplete : FrameStatus::kWrongCrc;
}

FrameStatus ImageFrame::TakeMagic(uint8_t byte) {
    if (byte != kMagic[taken_]) {
        taken_ = 0;
    }
    // No byte of the magic occurs twice, so only its first can begin a frame anew.
    if (byte == kMagic[taken_]) {
        taken_++;
    }
    return FrameStatus::kIncomplete;
}

// True with the last of the four bytes; word_ is then whole.
bool ImageFrame::TakeWord(uint8_t byte, uint32_t index) {
    word_ = index == 0 ? byte : word_ | (uint32_t)byte << (8 * index);
    return index == 3;
}
