from regnet_tf.design_space.named import *
from regnet_tf.design_space.sampling import sample
