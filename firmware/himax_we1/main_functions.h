#ifndef MAIN_FUNCTIONS_H
#define MAIN_FUNCTIONS_H

// Makes the interpreter.
void setup();

// One image in, its scores out. Where setup() failed, says why instead.
void loop();

#endif
