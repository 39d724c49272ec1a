/*
 * One image in a stream of bytes: the four bytes "IMG:", its length and, after it, its CRC-32, both
 * little-endian. Knows neither UART nor network; himax_we1_evb/image_provider.cc feeds it.
 */
#ifndef IMAGE_FRAME_H
#define IMAGE_FRAME_H

#include <stdint.h>

enum class FrameStatus { kIncomplete, kComplete, kWrongLength, kWrongCrc };

class ImageFrame {
  public:
    // The image is written to `image` as it comes: a frame that does not end in kComplete spoils it.
    ImageFrame(int8_t *image, uint32_t image_bytes);

    FrameStatus Take(uint8_t byte);

    // Whether the first bytes of a frame have been seen.
    bool started() const {
        return taken_ > 0;
    }

  private:
    FrameStatus TakeMagic(uint8_t byte);
    bool TakeWord(uint8_t byte, uint32_t index);

    int8_t *image_;
    uint32_t image_bytes_;
    uint32_t taken_;
    uint32_t word_;
    uint32_t crc_;
};

#endif
