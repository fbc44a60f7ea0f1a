/** Text of an error of the client that is safe to show, at most 500 characters. */
export type Describe = (error: unknown) => string

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(messageOf).join(', ')
  if (!(error instanceof Error)) return 'the client gave no reason'
  const { code } = error as { code?: unknown }
  if (error.message !== '') return error.message
  return typeof code === 'string' ? code : error.name
}

/** `secrets` are hidden in every form in which a client may repeat them. */
export function describer(secrets: readonly string[]): Describe {
  const hidden = secrets
    .filter((secret) => secret.length > 2)
    .flatMap((secret) => [
      secret,
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64'),
      JSON.stringify(secret).slice(1, -1),
    ])
  return (error) => {
    let text = messageOf(error).replace(/\/\/[^\s/]*@/g, '//***@')
    for (const secret of hidden) text = text.replaceAll(secret, '***')
    return text.slice(0, 500)
  }
}
