"""Reads one BGP message a line in hex, and prints what ExaBGP's own decoder makes of it, as JSON.

Arguments: a configuration file whose first neighbor says which capabilities both sides have.
"""

import json
import sys

try:
    # ExaBGP 4 must have its settings before the rest of it is imported.
    from exabgp.configuration.setup import environment

    environment.setup("")
except ImportError:
    # ExaBGP 5 has no such module, and wants its log set up: silent, since what it decodes goes to the same output.
    from exabgp.environment import getenv
    from exabgp.logger import log

    log.silence()
    log.init(getenv())

from exabgp.bgp.message import Notification, Open, Update
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.open import ASN, HoldTime, RouterID, Version
from exabgp.bgp.message.open.capability import Capabilities, Capability, Negotiated
from exabgp.configuration.configuration import Configuration
from exabgp.reactor.api.response import Response
from exabgp.version import json as json_version


def setting(neighbor, name):
    """ExaBGP 5 keeps a neighbor's settings under their names in the file, 4 in fields."""
    return neighbor[name] if isinstance(neighbor, dict) else getattr(neighbor, name.replace("-", "_"))


def session(path):
    configuration = Configuration([path])
    if not configuration.reload():
        sys.exit("the configuration is refused: %s" % configuration.error)
    neighbor = next(iter(configuration.neighbors.values()))
    capabilities = Capabilities().new(neighbor, False)
    capabilities[Capability.CODE.MULTIPROTOCOL] = neighbor.families()
    negotiated = Negotiated(neighbor)
    hold_time = HoldTime(180)
    ours, theirs = ASN(setting(neighbor, "local-as")), ASN(setting(neighbor, "peer-as"))
    negotiated.sent(Open(Version(4), ours, hold_time, RouterID("10.0.1.2"), capabilities))
    negotiated.received(Open(Version(4), theirs, hold_time, RouterID("10.0.0.1"), capabilities))
    return neighbor, negotiated


def name(code, subcode):
    """What ExaBGP calls the subcode; None where it knows no name.

    Without the data: its decoder fails on a shutdown communication (4.2.21), and on octets that are no text.
    """
    subname = lambda *numbers: str(Notification(*numbers)).split(" / ")[1]
    known = subname(code, subcode)
    return known if known != subname(255, 255) else None


def decoded(neighbor, negotiated, octets):
    kind, body = octets[18], octets[19:]
    encoder = Response.JSON(json_version)
    if kind == 1:
        text = encoder.open(neighbor, "in", Open.unpack_message(body), None, "", "")
    elif kind == 2:
        update = Update.unpack_message(body, Direction.IN, negotiated)
        text = encoder.update(neighbor, "in", update, None, "", "")
    elif kind == 3:
        text = json.dumps({"notification": {"code": body[0], "subcode": body[1], "name": name(body[0], body[1])}})
    else:
        text = json.dumps({"type": kind})
    return json.dumps(json.loads(text))


def main():
    neighbor, negotiated = session(sys.argv[1])
    for line in sys.stdin:
        print(decoded(neighbor, negotiated, bytes.fromhex(line.strip())))


main()
