"""The studies before CNNs, and beside them: features of a cell and a classical classifier.

``features`` (colour, texture, shape by hand), ``words`` (bag of features) and ``deep`` (what a
network sees before its last layer) turn a cell into numbers; ``methods`` names the classifiers
(scikit-learn); ``session`` fits and measures them by the same rules as the networks: patients
never on two sides, thresholds from val, test read to report.

No fitted classifier is stored. scikit-learn's own file format is a pickle, which runs code when it
is read; a run keeps its settings, predictions and figures instead, and repeats from its seed.
"""
