"""Records that stay in their file until they are asked for."""

import json
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redistill.console.exceptions import RefusedError
from redistill.records import grouped, jsonl, runs, spool
from redistill.records.grouped import Groups
from redistill.records.lazy import Changed, Joined, Picked
from redistill.records.spool import Index, Spool
from redistill.records.types import Problem, Rationale

MANY = [
    Problem(id=f"p{n:04}", question=f"what is \u00e9{n}\u2028?", answer=str(n)) for n in range(500)
]


@pytest.fixture(autouse=True)
def _no_file_is_small(monkeypatch):
    monkeypatch.setattr(spool, "SMALL", 0)


def problem(name: str, question: str = "why?") -> Problem:
    return Problem(id=name, question=question, answer="1")


def test_the_records_of_a_file_are_those_that_reading_it_whole_gives(tmp_path):
    jsonl.write(tmp_path / "a.jsonl", MANY)

    found = spool.read(tmp_path / "a.jsonl", Problem)

    assert isinstance(found, Spool)
    assert [*found] == jsonl.read(tmp_path / "a.jsonl", Problem) == MANY
    assert (len(found), found[7], found[-1], found[3:5]) == (500, MANY[7], MANY[-1], MANY[3:5])


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_before_the_file_and_other_ends_of_lines_are_no_part_of_a_record(
    tmp_path, head, end
):
    lines = [one.model_dump_json().encode() for one in MANY[:3]]
    (tmp_path / "a.jsonl").write_bytes(head + end.join(lines))

    assert [*spool.read(tmp_path / "a.jsonl", Problem)] == MANY[:3]


@pytest.mark.parametrize(
    "rows",
    [
        [problem("a"), problem("b"), problem("a", "how?")],
        [problem("\u00e9"), problem("z"), problem("e\u0301")],
    ],
)
def test_two_records_of_one_id_are_refused_as_reading_the_file_whole_does(tmp_path, rows):
    jsonl.write_rows(tmp_path / "a.jsonl", [row.model_dump() for row in rows])

    with pytest.raises(RefusedError, match=r"a\.jsonl:3: .*the same id as line 1"):
        spool.read(tmp_path / "a.jsonl", Problem)


def test_a_file_that_is_not_there_or_has_a_bad_line_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "bad.jsonl").write_text(MANY[0].model_dump_json() + '\n{"id": "b"}\n')

    with pytest.raises(RefusedError, match="cannot be read"):
        spool.read(tmp_path / "none.jsonl", Problem)
    with pytest.raises(RefusedError, match=r'bad\.jsonl:2: field "question": missing'):
        spool.read(tmp_path / "bad.jsonl", Problem)


def test_a_small_file_is_read_once(tmp_path, monkeypatch):
    jsonl.write(tmp_path / "a.jsonl", MANY)
    monkeypatch.setattr(spool, "SMALL", (tmp_path / "a.jsonl").stat().st_size)

    assert spool.read(tmp_path / "a.jsonl", Problem) == MANY


def test_a_file_without_rows_has_no_records(tmp_path):
    jsonl.write(tmp_path / "a.jsonl", [])

    assert [*spool.read(tmp_path / "a.jsonl", Problem)] == []


def test_records_that_are_kept_are_had_back_as_often_as_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(spool, "IN_MEMORY", 1000)  # so that a file is made

    found = spool.kept(iter(MANY), Problem)

    assert [*found] == [*found] == MANY
    assert found[250] == MANY[250]


@pytest.mark.parametrize("records", [MANY, MANY[::-1]], ids=["in order", "in another order"])
def test_a_record_is_found_by_its_id_in_whatever_order_they_are_asked_for(records):
    index = spool.by_id(Joined(records))

    assert [index[one.id] for one in MANY] == MANY
    assert [index[one.id] for one in reversed(MANY)] == MANY[::-1]
    assert index.get("p9999") is None
    assert [*index] == [one.id for one in records]
    assert len(index) == 500


@pytest.mark.parametrize("names", [["a", "a", "b", "c", "c"], ["c", "a", "b", "c", "a"]])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("into", [list, Joined], ids=["in memory", "not in memory"])
@given(asked=st.lists(st.sampled_from(["a", "b", "b2", "c", "d", "0"]), max_size=12))
def test_of_several_of_one_name_the_first_or_the_last_is_found(names, first, into, asked):
    records = [problem(str(place), name) for place, name in enumerate(names)]
    index = spool.named(into(records), attrgetter("question"), first=first)
    known = (
        dict(zip(names[::-1], records[::-1], strict=True))
        if first
        else dict(zip(names, records, strict=True))
    )

    assert [index.get(name) for name in asked] == [known.get(name) for name in asked]
    assert {*index} == {*known}
    assert len(index) == 3


def test_records_that_are_asked_for_in_their_order_are_each_read_a_few_times():
    class Counted(list):
        read = 0

        def __getitem__(self, place):
            self.read += 1
            return super().__getitem__(place)

    records = Counted(MANY)
    index = Index(records, attrgetter("id"))

    assert [index.get(one.id) for one in MANY[::3]] == MANY[::3]
    assert index.get("p9999") is None
    assert records.read < 2 * len(MANY)


def test_names_with_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(spool, "hash", lambda name: 7, raising=False)

    index = spool.by_id(Joined(MANY[4::-1]))

    assert [index[one.id] for one in MANY[:5]] == MANY[:5]
    assert "p0007" not in index


def test_sequences_that_are_joined_are_one():
    both = Joined(MANY[:2], [], MANY[2:5])

    assert [*both] == MANY[:5]
    assert (len(both), both[3], both[-1], both[1:3]) == (5, MANY[3], MANY[4], MANY[1:3])
    with pytest.raises(IndexError):
        both[5]


def test_more_lines_than_are_sorted_at_once_come_in_the_order_of_their_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUN", 7)
    ids = [f"{(n * 37) % 100}\u2028" for n in range(100)] + ["5\u2028"]

    found = [*runs.in_order(((name, f"{name} {n}") for n, name in enumerate(ids)), tmp_path)]

    assert found == [f"{name} {n}" for name, n in sorted(zip(ids, range(101), strict=True))]
    assert [*tmp_path.iterdir()] == []


def test_what_is_written_in_runs_is_what_is_written_at_once(tmp_path, monkeypatch):
    jsonl.write(tmp_path / "whole.jsonl", MANY[::-1])
    monkeypatch.setattr(runs, "RUN", 60)

    assert jsonl.write(tmp_path / "runs.jsonl", iter(MANY[::-1])) == 500

    assert (tmp_path / "runs.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert json.loads((tmp_path / "runs.jsonl").read_text().split("\n")[0])["id"] == "p0000"


def test_two_records_of_one_problem_are_refused_and_counted():
    rows = [
        Rationale(id=name, problem="p", text="#### 1", round="r0", teacher="t", status="first")
        for name in ("a", "b")
    ]

    with pytest.raises(RefusedError, match="rationales: 1 problems have more than one row"):
        spool.by_problem(rows, "rationales")


def test_what_is_picked_or_changed_is_made_when_it_is_asked_for():
    asked: list[str] = []

    def named(record: Problem) -> str:
        asked.append(record.id)
        return record.answer

    picked = Picked(MANY, [7, 3, 7])
    changed = Changed(picked, named)

    assert (len(changed), asked) == (3, [])
    assert (changed[1], changed[-1], asked) == ("3", "7", ["p0003", "p0007"])
    assert [*changed] == changed[:] == ["7", "3", "7"]
    with pytest.raises(IndexError):
        picked[3]


def test_records_of_one_name_are_found_in_their_order_and_others_left_out():
    def name(record: Problem) -> str | None:
        return None if record.id == "p0001" else record.id[-1]

    groups = Groups(Joined(MANY[:25]), name)

    assert [one.id for one in groups.of("1")] == ["p0011", "p0021"]
    assert ("3" in groups, "x" in groups, groups.of("x"), len(groups)) == (True, False, [], 24)
    assert groups.firsts() == [0, *range(2, 10), 11]


def test_names_of_one_hash_are_grouped_apart(monkeypatch):
    monkeypatch.setattr(grouped, "hash", lambda name: 7, raising=False)

    groups = Groups(MANY[:6] + MANY[:2], attrgetter("id"))

    assert [groups.of(one.id) for one in MANY[:3]] == [[MANY[0]] * 2, [MANY[1]] * 2, [MANY[2]]]
    assert groups.firsts() == [*range(6)]


def test_hashes_that_stand_more_than_once_are_found_with_all_their_places():
    assert grouped.twins([5, 1, 5, 2, 1, 5]).tolist() == [0, 1, 2, 4, 5]
    assert grouped.twins([]).tolist() == []
