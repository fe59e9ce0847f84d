"""Parts of a measurement."""

#: Parts measured for a network: in its library, and in the forms of the files that it exports.
LIBRARY = ("training", "inference", "latency")
FORMS = ("saved_model", "tflite")
PARTS = (*LIBRARY, *FORMS)

#: Parts in which a call takes a batch of images; in the others it takes one image.
BATCHED = ("training", "inference")

#: Forms with files that take any batch size.
ANY_BATCH = ("saved_model", "onnx")
