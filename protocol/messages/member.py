"""Everything members say to each other on a control channel."""

from protocol.messages.admission import AdmissionMessage
from protocol.messages.inventory import InventoryMessage
from protocol.messages.session import SessionMessage
from protocol.messages.transfer import TransferMessage

MemberMessage = SessionMessage | AdmissionMessage | InventoryMessage | TransferMessage
