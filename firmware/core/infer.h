/* Requests that move tensors and run the network: INPUT, INFER, READ. */
#ifndef INFER_H
#define INFER_H

#include "frame.h"
#include "reply.h"

#include <stdbool.h>

void infer_start(const char *engine_failure);
/* A new host may begin with any inference number. */
void infer_forget_input(void);
bool infer_can_count(void);

void on_input(const frame *request);
void on_infer(const frame *request);
void on_read(const frame *request);

#endif
