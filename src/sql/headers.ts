/** Headers of a row, or undefined if somebody has changed them into something else. */
export function decodeHeaders(text: string): Record<string, string> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const headers = value as Record<string, unknown>
  for (const name of Object.keys(headers)) if (typeof headers[name] !== 'string') return undefined
  return headers as Record<string, string>
}
