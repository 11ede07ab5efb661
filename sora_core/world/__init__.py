"""The controlled world: captions rendered to clips whose truth can be read back from the pixels.

``scene`` says what is in a clip, ``render`` draws it, ``readback`` measures it again, knowing nothing of the scene.
"""
