#include "main_functions.h"

int main(int argc, char *argv[]) {
    (void)argc;
    (void)argv;
    setup();
    while (true) {
        loop();
    }
}
