/* Which chip and which build this is; what IDENTIFY answers. */
#ifndef IDENTITY_H
#define IDENTITY_H

#define IDENTITY_DIGEST_DIGITS 64

extern const char firmware_target[];
extern const char firmware_digest[IDENTITY_DIGEST_DIGITS + 1];

#endif
