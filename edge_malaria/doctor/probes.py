"""What doctor runs in child processes: each program tries one thing and prints what it found."""

from __future__ import annotations

NUMPY_PROBE = "import numpy; numpy.zeros(3).sum(); print(numpy.__version__, numpy.__file__)"
# Older typers fail at the first --help beside a newer click; newer ones bring their own click.
TYPER_PROBE = """
import contextlib, io, typer
app = typer.Typer(add_completion=False)
@app.command()
def probe(number: int = 0) -> None: pass
with contextlib.redirect_stdout(io.StringIO()):
    typer.main.get_command(app).main(["--help"], standalone_mode=False)
print("typer", typer.__version__)
"""
OPENCV_PROBE = """
import cv2, numpy
ok, data = cv2.imencode(".png", numpy.zeros((4, 4, 3), numpy.uint8))
assert ok and cv2.imdecode(data, 1).shape == (4, 4, 3)
print(cv2.__version__)
"""
ENGINE_PROBE = """
import sys
import numpy as np
from edge_malaria.bundle import read_bundle
from edge_malaria.runtime.engines import open_engine
bundle = read_bundle(sys.argv[2])
for variant, files in bundle.classifier.variants.items():
    if sys.argv[1] in files:
        engine = open_engine(bundle.read(files[sys.argv[1]].file), sys.argv[1])
        engine.run(np.zeros((1, *engine.input.shape), np.uint8))
        break
"""
BUNDLE_PROBE = """
import sys
from edge_malaria.bundle import read_bundle
bundle = read_bundle(sys.argv[1])
print(bundle.name, bundle.version + ", int8,", len(bundle.contents), "files whole")
"""
PICAMERA_PROBE = "import numpy; from picamera2 import Picamera2; print('numpy', numpy.__version__)"
# A camera is opened as a slide would open it, with a short warm-up.
CAMERA_PROBE = """
import sys
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.runtime.sources.base import CameraSettings, SourceSettings
from edge_malaria.runtime.sources.camera_opening import open_camera
try:
    patience = SourceSettings(camera_timeout_s=10, reconnect_s=0)
    source = open_camera(sys.argv[1], patience, CameraSettings(warm_up_s=1))
    frames = source.fields()
    image = next(frames).image
    frames.close()
except EdgeMalariaError as error:
    sys.exit(str(error))
print(image.shape[1], "x", image.shape[0], "px, mean level", round(float(image.mean())), "|",
      " ".join(source.warnings))
"""
PICAMERA_LIST_PROBE = """
from picamera2 import Picamera2
print(len(Picamera2.global_camera_info()))
"""
