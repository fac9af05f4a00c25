from __future__ import annotations

from mosha.tables import hastat


def test_a_small_table_is_one_expression() -> None:
    assert hastat.render({}) == "{}\n"
    assert hastat.render({"g": {2: ("start", "DONE")}}) == '{ g => { 2 => { level => "start", state => "DONE" } } }\n'


def test_keys_are_sorted_nodes_by_number_and_long_hashes_get_lines() -> None:
    table = {"tick": {3: ("stop", "DONE")}, "b-c": {}, "kv": {10: ("plan", "STARTING"), 2: ("start", "DONE")}}
    assert hastat.render(table) == """\
{
  "b-c"  => {},
  "kv"   => {
    2  => { level => "start", state => "DONE" },
    10 => { level => "plan", state => "STARTING" },
  },
  "tick" => { 3 => { level => "stop", state => "DONE" } },
}
"""


def test_no_text_can_leave_its_quotes_or_be_interpolated() -> None:
    text = hastat.render({"g": {1: ('a"; `id` $x @y \\', "\n\x00é")}})
    assert r'"a\"; `id` \$x \@y \\"' in text
    assert r'"\x{a}\x{0}\x{e9}"' in text
