"""Processes: what reacts to the log.

    log ──> Projector: fold ── Reactions: what is to be sent ──> Sender: commands, EffectQueue: calls ── durable ──> commit
    instances ── a timer is due ──> Timers: FireTimer ──> the log          EffectQueue ──> perform ──> the log

Sent first, then the checkpoint moves: a repeat is a duplicate, because ids are made of the event that is reacted to.
"""
