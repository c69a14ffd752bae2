"""Packaging of hpcnas. Horovod is not listed: its wheel must match the MPI at hand, see tools/build_horovod.sh."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="hpcnas",
    version="0.1.0",
    description="Neural architecture search for keyword spotting and language identification on MPI clusters",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="neural architecture search, keyword spotting, language identification, MPI, HPC",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["hpcnas", "hpcnas.*"]),
    package_data={"hpcnas": ["*/*.html", "py.typed"]},
    install_requires=[
        "h5py>=3.8,<4",
        "jinja2>=3.1,<4",
        "kaldi-native-fbank>=1.20,<2",
        "matplotlib>=3.7,<4",
        "mpi4py>=4.0,<5",
        "numpy>=1.24,<3",
        "optuna>=4,<5",
        "orjson>=3.9,<4",
        "rich>=13,<16",
        "scipy>=1.15,<2",
        "soundfile>=0.13,<1",
        "soxr>=0.3,<2",
        "tomli>=2,<3; python_version < '3.11'",
        "tomli-w>=1,<2",
        "torch>=2.4,<3",
        "tqdm>=4.65,<5",
    ],
    extras_require={
        "export": ["onnx>=1.16,<2", "onnxruntime>=1.18,<2", "torch>=2.5,<3"],
        "litert": [
            "litert-torch>=0.10,<0.11",
            "ai-edge-quantizer>=0.10,<0.11",
            # Has development releases only, for this platform only.
            "tflite-micro>=0.dev20251001; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "torch>=2.5,<3",
        ],
        "executorch": ["executorch>=1.4.1,<1.5", "torch>=2.13,<3"],
        "tensorboard": ["tensorboard>=2.15,<3"],
        "micro": ["pymicro-features>=2,<3"],
        "parquet": ["pyarrow>=16,<27"],
        "rooms": ["pyroomacoustics>=0.8,<1"],
        "mlflow": ["mlflow-skinny>=2.15,<4"],
        "speech": ["espeakng-loader>=0.2.4,<1"],
        "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1,<2"],
        "test": [
            "hypothesis>=6.80,<7",
            # Newer kernels and clients want a newer typing-extensions than the converter in [litert] admits.
            "ipykernel>=6.25,<7",
            "jupyter-client>=8,<8.7",
            "mypy>=2,<3",
            "nbclient>=0.10,<1",
            "pandas>=2,<4",
            "pytest>=7.4,<10",
            "pytest-xdist>=3.7,<4",
            "ruff>=0.4,<1",
        ],
    },
    entry_points={
        "console_scripts": [
            "hpcnas-search = hpcnas.search:main",
            "hpcnas-compare = hpcnas.compare:main",
            "hpcnas-ensemble = hpcnas.ensemble:main",
            "hpcnas-detect = hpcnas.detect:main",
            "hpcnas-doctor = hpcnas.doctor:main",
            "hpcnas-distil = hpcnas.distil:main",
            "hpcnas-evaluate = hpcnas.evaluate:main",
            "hpcnas-export = hpcnas.export:main",
            "hpcnas-mine = hpcnas.mine:main",
            "hpcnas-report = hpcnas.report:main",
            "hpcnas-track = hpcnas.track:main",
        ]
    },
)
