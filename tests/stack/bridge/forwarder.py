"""The fixed address on the wire: while an interface is attached, <fixed ip>:port leads to <instance ip>:port.

Loopback has no interfaces to move, so this is where "attached" becomes traffic. Every accepted connection is counted for
the instance that it went to (the nft stand-in reads the count). Detaching stops the listener and cuts what was open.
"""
import os
import socket
import threading

import sandbox
from context import PORTS, log, write_json

_lock = threading.Lock()
_active = {}          # interface id -> Forward
accepted = {}         # instance id -> {port: connections}


def start(interface_id, fixed_ip, instance_id, instance_ip, admits):
    """Idempotent: forward exactly so from now on. Not admitting refuses new connections and leaves open ones alone,
    as a security group does."""
    with _lock:
        current = _active.get(interface_id)
        if current and (current.instance_id, current.fixed_ip) != (instance_id, fixed_ip):
            current.cut()
            current = None
        if current is None:
            current = _active[interface_id] = Forward(fixed_ip, instance_id, instance_ip)
        current.listen() if admits else current.stop_listening()


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
        self.listeners, self.open, self.lock, self.over = [], set(), threading.Lock(), False

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
            connections, self.open = list(self.open), set()
        for connection in connections:
            close(connection)

    def accept(self, listener, port):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
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
            self.open |= {client, server}
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()
        with self.lock:
            self.open -= {client, server}
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
