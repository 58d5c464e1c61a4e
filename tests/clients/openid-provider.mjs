// A real OpenID provider for the tests: node openid-provider.mjs PORT ACCOUNTS, where ACCOUNTS is JSON: {"dora": {"roles": ["data"], "groups": ["risk"]}}.
// Any password is right. Its keys are made at each start, so that a restart on the same port rotates them.
import { createServer } from 'node:http';
import { generateKeyPair, exportJWK } from 'jose';
import Provider from 'oidc-provider';

const [port, accountsJson] = process.argv.slice(2);
const accounts = JSON.parse(accountsJson);
const audience = 'https://slipway.test/api';

async function key(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${Date.now()}` };
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: 'slipway', client_secret: 'planted-openid-client-secret', redirect_uris: ['http://127.0.0.1/sign-in/openid/callback'] },
    { client_id: 'machine', client_secret: 'machine-secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
  ],
  jwks: { keys: [await key('RS256'), await key('ES256')] },
  cookies: { keys: ['for these tests alone'] },
  claims: { openid: ['sub'], profile: ['preferred_username', 'roles', 'groups'], email: ['email'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id, preferred_username: id, ...accounts[id] }) },
  extraTokenClaims: (_, token) => (token.kind === 'ClientCredentials' ? { roles: ['machines'] } : undefined),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    await grant.save();
    return grant;
  },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client) => (client.clientId === 'machine' ? audience : undefined),
      getResourceServerInfo: () => ({ scope: 'api', audience, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
});
// The tests' server listens on a port that is not known beforehand.
provider.Client.prototype.redirectUriAllowed = (uri) => uri.startsWith('http://127.0.0.1:') && uri.endsWith('/sign-in/openid/callback');

createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}`));
