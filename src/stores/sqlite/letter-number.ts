/** The number behind the key of a dead letter, or undefined if no dead letter can have this key. */
export function letterNumber(key: string): number | undefined {
  const number = /^[1-9]\d{0,15}$/.test(key) ? Number(key) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}
