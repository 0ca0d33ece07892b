"use strict";
const texts = /*TEXTS*/{};
