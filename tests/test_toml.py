"""Configurations as files: what is written is read back, and what cannot be read is told in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcnas import config as configuration
from hpcnas.analysis.trials import ConfiguredRun
from hpcnas.core.errors import ConfigError, RunError
from hpcnas.store import toml_file

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\\x\"'#[]{}=,.\n\r\t\0\x7f\ufeff5f")))
"""Any text, and more often than chance those that have a meaning in TOML."""
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.one_of(TEXTS, st.booleans(), FINITE, st.integers(-(2**63), 2**63 - 1)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


MANIFESTS = st.lists(TEXTS, max_size=3).map(lambda texts: tuple(f"{number}{text}" for number, text in enumerate(texts)))
"""None named twice."""


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"a": "(.+?)\\x5f"})
@example({"a": "\x1f"})
@example({"größe": [0, 0.5], "": "", "a.b": {"c d": [[], {}]}})
def test_every_table_is_read_back_as_it_was_written(table):
    assert toml_file.parse(toml_file.spell(table)) == table


@given(TEXTS, MANIFESTS, TEXTS, st.floats(0, allow_infinity=False))
@example("C:\\x64\\kws", ("\\", '"'), "(.+?)\\x5f", 5e-324)
def test_a_configuration_is_read_back_whatever_its_texts_are(path, manifests, student, decay):
    base = configuration.Config()
    config = replace(
        base,
        data=replace(base.data, path=path, manifests=manifests),
        training=replace(base.training, weight_decay=decay),
        distillation=replace(base.distillation, student=student),
    )
    assert configuration.parsed(configuration.dump(config), "here") == config


OLD = r"""
seed = 3
[data]
name = "language_folders"
keywords = [ "yes", "no",]
source_pattern = "(.+?)_"
path = "/data/\u00e4\"\\quoted"
[space]
blocks = [ "conv", "svdf:filters=64|128",]
[training]
learning_rate = 1e-5
"""
"""As the package toml wrote it."""


def test_a_configuration_of_an_older_run_is_read_as_it_was():
    config = configuration.parsed(OLD, "old")
    assert config.data.path == '/data/ä"\\quoted' and config.data.keywords == ("yes", "no") and config.seed == 3
    assert config.space.blocks == ("conv", "svdf:filters=64|128") and config.training.learning_rate == 1e-5


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfseed = 3\n", b"\xef\xbb\xbfseed = 3\r\n[data]\r\nname = 'manifest'\r\n", b"seed = 3", b"seed = 3\r"],
    ids=["a byte order mark", "that and CRLF", "no end of line", "CR"],
)
def test_a_file_of_any_editor_is_read(content, tmp_path):
    (tmp_path / "c.toml").write_bytes(content)
    assert configuration.load(tmp_path / "c.toml").seed == 3


def test_whole_numbers_stand_for_others_in_a_list_too(tmp_path):
    (tmp_path / "c.toml").write_text("[augmentation]\nsnr_db = [0, 12.5]\n")
    config = configuration.load(tmp_path / "c.toml", ["tuning.name=random", "tuning.dropout=[0, 0.3]"])
    assert config.augmentation.snr_db == (0.0, 12.5) and config.tuning.dropout == (0.0, 0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed = \n", "is not TOML: Invalid value (at line 1, column 8)"),
        (b"seed = 1\nseed = 2\n", "is not TOML: Cannot overwrite a value (at line 2, column 9)"),
        (b"[data]\nname = 'x'\n[data]\n", "is not TOML: Cannot declare ('data',) twice (at line 3"),
        (b'[data]\nkeywords = ["up", "down"\n', "is not TOML: Unclosed array (at end of document"),
        (b'[data]\npath = "C:\\data"\n', "is not TOML: Unescaped '\\' in a string (at line 2"),
        (b"[data\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1"),
        (b'[data]\npath = "a\n', "is not TOML: Illegal character '\\n' (at line 2"),
        ("größe = 1\n".encode(), "is not TOML: Expected '=' after a key"),
        ("größe = 1\n".encode("latin-1"), "is not TOML: a byte that is not UTF-8 (at line 1, column 3); save it as UTF-8"),
        ("seed = 1\n".encode("utf-16"), "is not TOML: it is UTF-16; save it as UTF-8"),
        (b"a = " + 10_000 * b"[", "is not TOML: "),
        (b"seed = " + 5000 * b"9", "is not TOML: Exceeds the limit"),
        (b"seed = 9223372036854775808\n", "seed: is too large a number"),
        (b"seed = 0x" + 5000 * b"f", "seed: is too large a number"),
        (b"seed = 1.5\n", "seed = 1.5: must be a whole number"),
        (b"seed = 1979-05-27\n", "seed = 1979-05-27: must be a whole number"),
        (b"[data]\npath = 1979-05-27T07:32:00Z\n", "data.path = 1979-05-27T07:32:00+00:00: must be a text, in quotes"),
        (b"[training]\nlearning_rate = nan\n", "training.learning_rate = nan: must be a finite number"),
        (b"[training]\nlearning_rate = -inf\n", "training.learning_rate = -inf: must be a finite number"),
        (b"[augmentation]\nsnr_db = [0, inf]\n", "augmentation.snr_db[1] = inf: must be a finite number"),
        (b"[strategy]\nname = ['random']\n", "strategy.name = \"['random']\": unknown"),
        (b"'' = 1\n", ": unknown key"),
        (b"data = []\n", "data = []: must be a table"),
    ],
)
def test_what_is_no_configuration_is_told_in_one_line_with_its_place(content, message, tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        configuration.load(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value) and "\n" not in str(raised.value)


FLOATS = [
    f"{table}.{key}"
    for table, values in toml_file.parse(configuration.dump(configuration.Config())).items()
    if isinstance(values, dict)
    for key, value in values.items()
    if isinstance(value, float)
]


@pytest.mark.parametrize("key", FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_key_takes_a_number_that_is_not_finite(key, value):
    with pytest.raises(ConfigError, match=rf"^{key} = {value}: must be a finite number$"):
        configuration.load(None, [f"{key}={value}"])


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("recordings", "recordings"),
        ("", ""),
        (" my recordings ", "my recordings"),
        ("C:\\data\\x64", "C:\\data\\x64"),
        ('"a\\\\b"', "a\\b"),
        ("'a\\b'", "a\\b"),
        ("2019-05-27", "2019-05-27"),
        ("07:32:00", "07:32:00"),
        ("007", "007"),
        ("a#b", "a#b"),
        ("a = 1", "a = 1"),
        ("1\nseed = 3", "1\nseed = 3"),
        ("[data", None),
        ("{data", None),
        ('"data', None),
        ("'data", None),
        ('"C:\\data"', None),
        ("data]", "data]"),
    ],
)
def test_the_value_of_an_override_is_toml_or_a_bare_word(value, path):
    override = f"data.path={value}"
    if path is None:
        with pytest.raises(ConfigError) as raised:
            configuration.load(None, [override])
        assert str(raised.value).startswith(f"--set {override}: is not TOML") and "\n" not in str(raised.value)
    else:
        assert configuration.load(None, [override]).data.path == path


@pytest.mark.parametrize("value", ["[up, down", "[up, down]", '["up", "down"', '["up" "down"]', "[[]", "{up", "[1,, 2]"])
def test_an_unfinished_list_is_told_as_one(value):
    with pytest.raises(ConfigError, match="is not TOML; texts in a list need quotes"):
        configuration.load(None, [f"data.keywords={value}"])


def test_a_text_that_is_no_unicode_is_refused_before_it_is_to_be_written():
    with pytest.raises(ConfigError, match=r"data.path = .*is not UTF-8"):
        configuration.load(None, ["data.path=recordings\udcff"])


def test_settings_of_a_stage_that_cannot_be_read_are_told_with_their_place(tmp_path):
    path = tmp_path / "ensemble" / "settings.toml"
    configuration.remember(path, configuration.EnsembleConfig(), "ensemble")
    path.write_text("members = [")
    with pytest.raises(ConfigError, match=r"settings.toml: is not TOML: "):
        configuration.remember(path, configuration.EnsembleConfig(), "ensemble")


def test_a_run_whose_configuration_cannot_be_read_is_told_with_its_place(tmp_path):
    (tmp_path / "config.toml").write_text("seed = \n")
    with pytest.raises(RunError, match=r"config.toml: is not TOML: .*line 1.*; every run needs its configuration"):
        ConfiguredRun.open(tmp_path)
