"""The pytest plugin, used in a run of pytest of its own."""

from __future__ import annotations

import pytest

from tests.gradaudit.conftest import TOY


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(toy=TOY)
    return pytester


@pytest.mark.slow
def test_a_test_fails_with_the_report_where_a_variable_never_learns(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_training="""
        import toy
        from gradaudit.integrations.pytest_plugin import assert_trains as imported

        def test_healthy(assert_trains):
            assert assert_trains(toy.healthy).count("connected") == 6

        def test_half_dead(assert_trains):
            assert_trains(toy.half_dead)

        def test_the_same_by_import():
            imported(toy.half_dead)

        def test_what_is_not_asked_for(assert_trains):
            assert_trains(toy.half_dead, fail_on=["opaque"])
        """
    )
    result = project.runpytest_subprocess("-p", "no:cacheprovider", "--tb=short")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*not every variable trains*", "*2 of 6 variables will never learn*", "*GA101*"])
    result.stdout.no_fnmatch_line("*in assert_trains*")


@pytest.mark.slow
def test_the_plugin_alone_imports_no_tensorflow(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_nothing="""
        import sys

        def test_nothing():
            assert "gradaudit.integrations.pytest_plugin" in sys.modules
            assert "tensorflow" not in sys.modules
            assert "keras" not in sys.modules
        """
    )
    project.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
