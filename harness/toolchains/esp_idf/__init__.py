"""Firmware for the chips themselves: ESP-IDF projects, the vendors' engines in them, and their builds.

Generating needs nothing installed; building needs ESP-IDF. Nothing here talks to a board.
"""
