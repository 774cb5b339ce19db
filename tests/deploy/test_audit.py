from tests.deploy.scripts import load

audit = load("audit")


def test_an_advisory_fails_the_audit_and_is_named() -> None:
    """One advisory from one service is enough, whatever the other one knows."""
    findings = audit.Findings()
    findings.add({"dependencies": [{"name": "fine", "version": "1", "vulns": []}]})
    findings.add({"dependencies": [{"name": "holed", "version": "2", "vulns": [{"id": "X-1"}]}]})

    sentence, status = findings.verdict()

    assert status == 1
    assert "holed 2: X-1" in sentence


def test_a_service_that_knows_no_package_is_no_result() -> None:
    """Skipped packages must not read as packages without advisories."""
    findings = audit.Findings()
    findings.add({"dependencies": [{"name": "fine", "skip_reason": "not found"}]})

    sentence, status = findings.verdict()

    assert sentence == "no advisory service reachable: no audit result"
    assert status == 0


def test_packages_no_service_knew_are_named() -> None:
    """A partial result says what it does not cover."""
    findings = audit.Findings()
    findings.add(
        {
            "dependencies": [
                {"name": "fine", "version": "1", "vulns": []},
                {"name": "strange", "skip_reason": "not found"},
            ]
        }
    )

    sentence, status = findings.verdict()

    assert sentence == "advisories: none for 1 packages; no result for strange"
    assert status == 0
