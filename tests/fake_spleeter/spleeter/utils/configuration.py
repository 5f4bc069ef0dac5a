import tensorflow as tf


def load_configuration(descriptor):
    assert descriptor == "spleeter:2stems"
    return {"sample_rate": 22050 if tf.is_told("take another rate") else 44100, "model_dir": "2stems"}
