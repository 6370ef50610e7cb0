"""The fixed address on the wire: while an interface is attached, <fixed ip>:port leads to <instance ip>:port.

Loopback has no interfaces to move, so this is where "attached" becomes traffic. Every accepted connection is counted for
the instance that it went to (the nft stand-in reads the count). Detaching stops the listener and cuts what was open. What is
open is listed in the instance's sandbox with a number that never comes back, for the ss stand-in, which also asks for
connections to be cut there. A client whose address the knob `client_groups` names is let in by its groups alone.
"""
import itertools
import os
import socket
import threading
import time

import sandbox
from context import PORTS, knob, log, write_json

_lock = threading.Lock()
_active = {}          # interface id -> Forward
accepted = {}         # instance id -> {port: connections}
_cookies = itertools.count(1)


def start(interface_id, fixed_ip, instance_id, instance_ip, rules):
    """Idempotent: forward exactly so from now on. `rules` says for each port whom the groups admit: True is anybody, else the
    groups of clients. Not admitting refuses new connections and leaves open ones alone, as a security group does."""
    with _lock:
        current = _active.get(interface_id)
        if current and (current.instance_id, current.fixed_ip) != (instance_id, fixed_ip):
            current.cut()
            current = None
        if current is None:
            current = _active[interface_id] = Forward(fixed_ip, instance_id, instance_ip)
        current.rules = rules
        current.listen() if any(rules.values()) else current.stop_listening()


def stop(interface_id):
    with _lock:
        current = _active.pop(interface_id, None)
    if current:
        current.cut()


def count(instance_id, port):
    with _lock:
        ports = accepted.setdefault(instance_id, {})
        ports[str(port)] = ports.get(str(port), 0) + 1
        directory = os.path.join(sandbox.root(instance_id), ".standin")
        if os.path.isdir(directory):
            write_json(os.path.join(directory, "accepted.json"), ports)


class Forward:
    """One interface's listeners and the connections that came through them."""

    def __init__(self, fixed_ip, instance_id, instance_ip):
        self.fixed_ip, self.instance_id, self.instance_ip = fixed_ip, instance_id, instance_ip
        self.listeners, self.open, self.lock, self.over = [], {}, threading.Lock(), False
        self.rules, self.state = {}, os.path.join(sandbox.root(instance_id), ".standin")
        threading.Thread(target=self.obey, daemon=True).start()

    def listen(self):
        if self.listeners:
            return
        for port in PORTS:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.fixed_ip, port))
            listener.listen(128)
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, port), daemon=True).start()

    def stop_listening(self):
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            close(listener)

    def cut(self):
        self.over = True
        self.stop_listening()
        with self.lock:
            connections, self.open = list(self.open.values()), {}
            self.show()
        for _, client, server in connections:
            close(client)
            close(server)

    def admits(self, peer, port):
        groups = knob("client_groups").get(peer, knob("client_groups").get("*"))
        rule = self.rules.get(port)
        return bool(rule) and (rule is True or groups is None or bool(rule & set(groups)))

    def show(self):
        """What ss sees on the instance; under the lock."""
        if os.path.isdir(self.state):
            write_json(os.path.join(self.state, "connections.json"), {str(c): port for c, (port, *_) in self.open.items()})

    def obey(self):
        """Cuts what the ss stand-in asks to be cut: a file a connection, named by its number."""
        orders = os.path.join(self.state, "kills")
        while not self.over:
            for name in os.listdir(orders) if os.path.isdir(orders) else []:
                with self.lock:
                    _, *ends = self.open.pop(int(name), (0,))
                    os.unlink(os.path.join(orders, name))
                    self.show()
                for end in ends:
                    close(end)
            time.sleep(0.02)

    def accept(self, listener, port):
        while True:
            try:
                client, peer = listener.accept()
            except OSError:
                return
            if not self.admits(peer[0], port):
                close(client)
                continue
            threading.Thread(target=self.carry, args=(client, port), daemon=True).start()

    def carry(self, client, port):
        count(self.instance_id, port)
        try:
            server = socket.create_connection((self.instance_ip, sandbox.port(self.instance_id, port)), timeout=5)
            server.settimeout(None)
        except OSError:
            close(client)
            return
        with self.lock:
            if self.over:
                close(client)
                close(server)
                return
            cookie = next(_cookies)
            self.open[cookie] = (port, client, server)
            self.show()
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()
        with self.lock:
            self.open.pop(cookie, None)
            self.show()
        close(client)
        close(server)


def pump(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError as error:
        log.debug("forwarded connection ended: %s", error)
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def close(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
