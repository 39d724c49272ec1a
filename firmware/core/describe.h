/* Requests that tell what this firmware is: IDENTIFY, DESCRIBE, MEMORY. */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include "frame.h"
#include "reply.h"

void on_identify(const frame *request);
void on_describe(const frame *request);
void on_memory(const frame *request);

#endif
