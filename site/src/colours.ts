// The two scales of colour of the map, as stops: viridis, and ColorBrewer's purple to orange around
// zero.  People of every colour vision tell them apart.
import { interpolateRgbBasis, piecewise, interpolateRgb } from "./d3";

const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const AROUND_ZERO = [
  "#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7", "#fee0b6", "#fdb863", "#e08214",
  "#b35806", "#7f3b08",
];

export const viridis = interpolateRgbBasis(VIRIDIS);
export const aroundZero = piecewise(interpolateRgb, AROUND_ZERO);
