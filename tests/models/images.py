"""Architectures that see."""

import keras
import keras_hub

from tests.models.architecture import KEY_BIAS, Values, architecture, compiled

models = keras_hub.models

SHAPE = (32, 32, 3)
IMAGES = Values((4, *SHAPE))
CLASSES = Values((4,), 3)
VIT = {"patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "image_shape": SHAPE}


def classifier(base: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """A new head on a base whose batch statistics stay as they are, as the guides of Keras have it."""
    images = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(base(images, training=False))
    model = keras.Model(images, keras.layers.Dense(3, name="head")(keras.layers.Dropout(0.2)(pooled)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@architecture(
    IMAGES,
    CLASSES,
    inert={"project_bn/beta": "goes through a convolution and is subtracted by the next normalisation"},
    slow=True,
)
def mobilenet_v3_small():
    model = keras.applications.MobileNetV3Small(input_shape=SHAPE, weights=None, classes=3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@architecture(IMAGES, CLASSES)
def vgg_16():
    return classifier(keras.applications.VGG16(input_shape=SHAPE, weights=None, include_top=False), SHAPE)


@architecture(Values((4, 71, 71, 3)), CLASSES, slow=True)
def xception_with_a_new_head():
    base = keras.applications.Xception(input_shape=(71, 71, 3), weights=None, include_top=False)
    base.trainable = False
    return classifier(base, (71, 71, 3))


@architecture(IMAGES, CLASSES, inert=KEY_BIAS)
def vit_image_classifier():
    return compiled(models.ViTImageClassifier(models.ViTBackbone(**VIT), num_classes=3))


@architecture(IMAGES, CLASSES, inert=KEY_BIAS)
def vit_image_classifier_that_pools():
    return compiled(models.ViTImageClassifier(models.ViTBackbone(**VIT), num_classes=3, pooling="gap"))


@architecture(IMAGES, Values((4, 32, 32, 3)))
def deeplab_v3_image_segmenter():
    encoder = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=SHAPE,
    )
    backbone = models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key="P4",
        low_level_feature_key="P2",
        upsampling_size=4,
        dilation_rates=[2],
        projection_filters=8,
        image_shape=SHAPE,
    )
    return compiled(models.DeepLabV3ImageSegmenter(backbone, num_classes=3))
