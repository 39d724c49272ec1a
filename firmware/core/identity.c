/* Alone in a file, so that no other object differs from chip to chip or from build to build. */
#include "identity.h"

#ifndef FIRMWARE_TARGET
#error "FIRMWARE_TARGET must name the chip this is built for, as a string"
#endif
#ifndef FIRMWARE_DIGEST
/* None, or to be written into the linked file. */
#define FIRMWARE_DIGEST "0000000000000000000000000000000000000000000000000000000000000000"
#endif

const char firmware_target[] = FIRMWARE_TARGET;
const char firmware_digest[IDENTITY_DIGEST_DIGITS + 1] = FIRMWARE_DIGEST;
