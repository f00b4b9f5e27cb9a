"""Accuracy and ECE of a calibrated ONNX file, by ONNX Runtime and NumPy alone, in ten lines.

python -m benchmarks.onnx_calibration calibrated_model.onnx test.npz
"""

import sys

import numpy as np
import onnxruntime

model, data = onnxruntime.InferenceSession(sys.argv[1]), np.load(sys.argv[2])
pixels = np.atleast_3d(data["x_test"]).astype(np.float32) / 255
pixels = pixels.reshape(len(pixels), *model.get_inputs()[0].shape[1:])
parts = np.array_split(pixels, -(-len(pixels) // 128))
p = np.concatenate([model.run(["probabilities"], {"pixels": part})[0] for part in parts])
confidence, right = p.max(1), p.argmax(1) == data["y_test"]
bins = np.ceil(confidence * 15).astype(int)
gaps = [abs((right[bins == k] - confidence[bins == k]).sum()) for k in range(1, 16)]
print(f"accuracy {right.mean():.6f} ECE {sum(gaps) / len(right):.6f}")
