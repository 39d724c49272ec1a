/* The model image as part of the app. MODEL_IMAGE_FILE: its path, as a string. */
    .section .rodata.model_image, "a"
    .balign 64
    .global model_image_start
    .global model_image_end
model_image_start:
    .incbin MODEL_IMAGE_FILE
model_image_end:
