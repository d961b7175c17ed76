// Reads and searches through a gateway with a FHIR client library (npm fhir-kit-client): BASE_URL, then the token in $TOKEN.
// Prints what came of each as one JSON object.
import { Client } from 'fhir-kit-client';

const baseUrl = process.argv[2];
const bearerToken = process.env.TOKEN;

async function outcome(promise) {
  try {
    return { resource: await promise };
  } catch (error) {
    return { status: error.response?.status, resource: error.response?.data, text: error.response ? undefined : String(error) };
  }
}

const client = new Client({ baseUrl, bearerToken });
const stranger = new Client({ baseUrl });
console.log(JSON.stringify({
  read: await outcome(client.read({ resourceType: 'Patient', id: 'pat-0001' })),
  search: await outcome(client.search({ resourceType: 'Patient', searchParams: { _count: 2 } })),
  forbidden: await outcome(client.read({ resourceType: 'Condition', id: 'c-1' })),
  anonymous: await outcome(stranger.read({ resourceType: 'Patient', id: 'pat-0001' })),
}));
