"""An erasure is begun, given up, or done; whoever comes with another one's id is told."""

from domain.erasure import (
    BeginErasure,
    EraseUser,
    ErasureBegun,
    ErasureFinished,
    FinishErasure,
    KeepUser,
    UserErased,
    UserKept,
)
from domain.message import Erasure
from domain.user import AGGREGATE, User, UserRegistered
from tests.domain.scenario import T0, Scenario

REGISTERED = UserRegistered(
    email_hash="hash", email_sealed="e", display_name_sealed=None, password_sealed="p", registered_at=T0
)
BEGIN = BeginErasure(user_id="user_1", erasure_id="e1")


def begun() -> Scenario[User]:
    """A user whose erasure has begun."""
    return Scenario(AGGREGATE, REGISTERED, ErasureBegun(erasure_id="e1", begun_at=T0))


def test_it_is_begun_once() -> None:
    """A second request goes on with the first one's."""
    scenario = Scenario(AGGREGATE, REGISTERED)
    assert scenario.when(BEGIN) == [ErasureBegun(erasure_id="e1", begun_at=T0, email_hash="hash")]
    assert scenario.when(BeginErasure(user_id="user_1", erasure_id="e2")) == []
    assert scenario.answer["erasure_id"] == "e1"
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_it_is_done_under_its_id() -> None:
    """What was given up meanwhile is not done; without an id it is done as before there were steps."""
    for erasure_id in ("e1", None):
        scenario = begun()
        assert scenario.when(EraseUser(erasure_id=erasure_id)) == [UserErased(email_hash="hash", erased_at=T0)]
        assert (scenario.state.exists, scenario.state.erasing) == (False, "e1")
        assert scenario.replayed() == scenario.state == scenario.snapshot()
    scenario = begun()
    assert scenario.refused(EraseUser(erasure_id="e2")).code == "erasure_ended"
    scenario.when(KeepUser(erasure_id="e1"))
    assert scenario.refused(EraseUser(erasure_id="e1")).code == "erasure_ended"


def test_it_is_given_up_once_and_by_its_id() -> None:
    """The event gives the claim back that bars memberships, and erases nothing."""
    scenario = begun()
    assert scenario.when(KeepUser(erasure_id="e2")) == []
    assert scenario.when(KeepUser(erasure_id="e1")) == [UserKept(erasure_id="e1")]
    assert scenario.when(KeepUser(erasure_id="e1")) == []
    erasure = UserKept(erasure_id="e1").erasure("user_1")
    assert erasure == Erasure(subjects=(), claims=(("memberships", "user_1"),))
    assert [(each.kind, each.value, each.held) for each in BEGIN.claims()] == [("memberships", "user_1", True)]


def test_nobody_is_not_erased() -> None:
    """Who never registered."""
    scenario = Scenario(AGGREGATE)
    for command in (BEGIN, KeepUser(erasure_id="e1"), EraseUser()):
        assert scenario.refused(command).code == "user_not_found"


def test_it_is_finished_once_and_after_the_user_is_gone() -> None:
    """Not before, not another one's, and not of somebody whom nobody has begun to erase."""
    scenario = begun()
    assert scenario.when(FinishErasure(erasure_id="e1")) == []
    scenario.when(EraseUser(erasure_id="e1"))
    assert scenario.when(FinishErasure(erasure_id="e2")) == []
    assert scenario.when(FinishErasure(erasure_id="e1")) == [ErasureFinished(erasure_id="e1", finished_at=T0)]
    assert scenario.when(FinishErasure(erasure_id="e1")) == []
    assert scenario.replayed() == scenario.state == scenario.snapshot()
    assert Scenario(AGGREGATE).when(FinishErasure(erasure_id="e1")) == []
