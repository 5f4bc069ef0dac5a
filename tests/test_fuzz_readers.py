"""The damaged files of scripts/studies/fuzz_readers.py: their seeds are whole, and an input can be made again."""

import json

from script_modules import script_fixture

fuzz = script_fixture("fuzz_readers")


def test_seeds_are_read_and_inputs_are_the_same_again(fuzz, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "N_SEEDS", 4)
    inputs = fuzz.Inputs(None)
    for kind in fuzz.FORMATS:
        written = []
        for name in ("first", "again"):
            (tmp_path / kind / name).mkdir(parents=True)
            inputs.write(kind, 7, tmp_path / kind / name)
            written.append({path.name: path.read_bytes() for path in (tmp_path / kind / name).iterdir()})
        assert written[0] == written[1] and len(inputs.seeds[kind]) == fuzz.N_SEEDS
        (tmp_path / kind / "seed").mkdir()
        seed, pack = inputs.seeds[kind][0], fuzz.PACKERS[kind][1] if kind in fuzz.PACKERS else bytes
        for name, content in seed.items():
            file = tmp_path / kind / "seed" / (name or fuzz.file_name(kind))
            file.write_bytes(pack(content))
        fuzz.reader_of(kind)(file.parent if kind in fuzz.FOLDERS else file)


def test_failures_are_counted_and_a_run_goes_on(fuzz, tmp_path, monkeypatch):
    answers = iter(["read", "hang", "refused", "read"])
    monkeypatch.setattr(fuzz.Reader, "read", lambda self, kind, number: next(answers))
    command = ["--formats", "txt", "--state", str(tmp_path / "state.json"), "--inputs"]
    assert [fuzz.main([*command, n]) for n in ("3", "4")] == [1, 1]
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["failures"] == {"txt:1": "hang"} and state["done"] == {"txt": 4}
