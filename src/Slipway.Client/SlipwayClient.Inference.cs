using System.Globalization;
using System.Net.Http.Headers;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    private const string InferenceHeaderLength = "Inference-Header-Content-Length";

    /// <summary>POST of an inference request; a refusal is an answer too, so that callers may count it or send less.</summary>
    /// <param name="path">Such as the contract's <c>/v2/models/delay/versions/1.0.0/infer</c>.</param>
    /// <param name="body">JSON, and the tensors after it when there are any.</param>
    /// <param name="jsonLength">Bytes of the JSON when tensors follow it; null when they do not.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="ServerUnreachableException">Nobody answers.</exception>
    public async Task<InferenceReply> SendInferenceAsync(string path, ReadOnlyMemory<byte> body, int? jsonLength, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative)) { Content = new ReadOnlyMemoryContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(jsonLength is null ? "application/json" : "application/octet-stream");
        if (jsonLength is { } length)
        {
            request.Headers.Add(InferenceHeaderLength, length.ToString(CultureInfo.InvariantCulture));
        }

        try
        {
            using var response = await _http.SendAsync(request, cancellationToken);
            var answer = await response.Content.ReadAsByteArrayAsync(cancellationToken);
            int? json = response.Headers.TryGetValues(InferenceHeaderLength, out var values) ? int.Parse(values.First(), NumberStyles.None, CultureInfo.InvariantCulture) : null;
            return new InferenceReply((int)response.StatusCode, answer, json, response.IsSuccessStatusCode ? null : (await FailureAsync(response, cancellationToken)).Message, RetryAfter(response));
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new ServerUnreachableException($"No Slipway server answers at {Server}; start one with 'slipway server' or name it with --server.", e);
        }
    }
}

/// <summary>Answer to an inference request.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Body">All of it.</param>
/// <param name="JsonLength">Bytes of the JSON when tensors follow it; null when they do not.</param>
/// <param name="Refusal">The server's sentence; null when it has scored.</param>
/// <param name="RetryAfter">When it asks to come again; null when it does not say.</param>
public sealed record InferenceReply(int Status, ReadOnlyMemory<byte> Body, int? JsonLength, string? Refusal, TimeSpan? RetryAfter);
